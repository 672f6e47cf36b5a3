# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class FeedInsertWorker
  include Sidekiq::Job
  sidekiq_options queue: "default"

  def perform(status_id, account_id)
    status, account = ApplicationRecord.on_replica { [Status.rendered.find_by(id: status_id), Account.find_by(id: account_id)] }
    HomeFeed.new(account).push(status) if status && account
  end
end
