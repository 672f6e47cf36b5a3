# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Brings a new status to everybody who should see it.
class DistributionWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  def perform(status_id)
    status = Status.find(status_id)
    HomeFeed.new(status.account).push(status) if status.local?
    followers(status) unless status.direct_visibility?
    status.mentions.includes(:account).each { |mention| bring_to(mention.account, status) }
    return unless status.public_visibility?

    Stream.public_channels(status).each { |channel| Stream.publish(channel, "update", Rest.status(status)) }
    FaspAnnounceWorker.perform_async(status.id) if status.local? && FaspProvider.confirmed.exists?
  end

  private

  def followers(status)
    status.account.followers.local.in_batches do |batch|
      FeedInsertWorker.perform_bulk(batch.ids.map { |id| [status.id, id] })
    end
    inboxes = status.local? ? status.account.followers.remote.distinct.pluck(:inbox_url) : []
    DeliveryWorker.perform_bulk(inboxes.map { |inbox| [Activity.create(status), status.account_id, inbox] })
  end

  def bring_to(account, status)
    return DeliveryWorker.perform_async(Activity.create(status), status.account_id, account.inbox_url) unless account.local?

    LocalNotificationWorker.perform_async(account.id, "mention", status.account_id, status.id)
  end
end
