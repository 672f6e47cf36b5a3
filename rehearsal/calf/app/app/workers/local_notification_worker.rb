# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class LocalNotificationWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  def perform(account_id, type, from_account_id, status_id = nil)
    account = Account.find(account_id)
    return if account_id == from_account_id || account.blocked_with?(Account.find(from_account_id))

    notification = Notification.create!(account:, type:, from_account_id:, status_id:)
    channel = "timeline:#{account.id}:notifications"
    Stream.publish(channel, "notification", Rest.notification(notification))
    UserMailer.with(user: account.user, notification:).mention.deliver_later if type == "mention" && account.user
  end
end
