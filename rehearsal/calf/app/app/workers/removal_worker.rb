# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class RemovalWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  def perform(status_id)
    status = Status.find(status_id)
    [status.account, *status.account.followers.local].each { |account| HomeFeed.new(account).remove(status) }
    Stream.public_channels(status).each { |channel| Stream.publish(channel, "delete", status.id.to_s) } if status.public_visibility?
    status.media_attachments.destroy_all
  end
end
