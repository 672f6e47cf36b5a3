# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Brings a new status to everybody who should see it.
class DistributionWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  def perform(status_id)
    @status = Status.find(status_id)
    HomeFeed.new(@status.account).push(@status) if @status.local?
    FeedInsertWorker.perform_bulk(audience.local.ids.map { |id| [@status.id, id] })
    @status.mentioned_accounts.local.ids.each do |id|
      LocalNotificationWorker.perform_async(id, "mention", @status.account_id, @status.id)
    end
    deliver if @status.local?
    publish if @status.public_visibility?
  end

  private

  # Whose home timeline it belongs in.
  def audience = @status.direct_visibility? ? Account.none : @status.account.followers

  def deliver
    inboxes = [audience, @status.mentioned_accounts].flat_map { |accounts| accounts.remote.pluck(:inbox_url) }.uniq
    activity = Activity.create(@status)
    DeliveryWorker.perform_bulk(inboxes.map { |inbox| [activity, @status.account_id, inbox] })
  end

  def publish
    Stream.public_channels(@status).each { |channel| Stream.publish(channel, "update", Rest.status(@status)) }
    FaspAnnounceWorker.perform_async(@status.id) if @status.local? && FaspProvider.confirmed.exists?
  end
end
