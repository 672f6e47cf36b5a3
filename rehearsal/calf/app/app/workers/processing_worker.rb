# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Takes in what another instance delivered.
class ProcessingWorker
  include Sidekiq::Job
  sidekiq_options queue: "ingress", retry: 8

  def perform(account_id, json)
    @account = Account.find(account_id)
    @activity = JSON.parse(json)
    RemoteActorWorker.perform_async(@account.uri) if @account.updated_at < 1.day.ago

    case @activity["type"]
    when "Follow" then follow
    when "Undo" then Follow.where(account: @account, target_account: local(@activity.dig("object", "object"))).delete_all
    when "Create" then create(@activity.fetch("object"))
    when "Delete" then @account.statuses.find_by(uri: object_uri)&.then { |status| delete(status) }
    end
  end

  private

  def object_uri = @activity["object"].is_a?(Hash) ? @activity["object"]["id"] : @activity["object"]
  def local(uri) = Account.local.find_local_or_remote(uri.to_s.delete_prefix("#{Calf::Settings.base_url}/users/"))

  def follow
    target = local(object_uri) or return
    Follow.create_or_find_by!(account: @account, target_account: target)
    LocalNotificationWorker.perform_async(target.id, "follow", @account.id)
    DeliveryWorker.perform_async(Activity.accept(target, @activity), target.id, @account.inbox_url)
  end

  def create(note)
    everyone = Array(note["to"]).include?(Activity::PUBLIC)
    status = @account.statuses.create_with(
      text: ActionController::Base.helpers.strip_tags(note["content"].to_s), local: false, visibility: everyone ? :public : :direct
    ).find_or_create_by!(uri: note.fetch("id"))
    return unless status.previously_new_record?

    status.mentioned_accounts = Array(note["to"]).union(Array(note["cc"])).filter_map { |uri| local(uri) }
    DistributionWorker.perform_async(status.id)
  end

  def delete(status)
    status.update!(deleted_at: Time.current)
    RemovalWorker.perform_async(status.id)
  end
end
