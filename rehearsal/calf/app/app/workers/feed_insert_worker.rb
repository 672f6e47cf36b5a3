# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class FeedInsertWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  # The status may be so new that the replica does not have it yet: only what decides about it is read there.
  def perform(status_id, account_id)
    status, account = Status.rendered.find_by(id: status_id), Account.find_by(id: account_id)
    return unless status && account

    HomeFeed.new(account).push(status) unless ApplicationRecord.on_replica { account.blocked_with?(status.account) }
  end
end
