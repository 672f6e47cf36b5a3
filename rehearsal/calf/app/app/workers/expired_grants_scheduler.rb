# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class ExpiredGrantsScheduler
  include Sidekiq::Job
  sidekiq_options queue: "scheduler", retry: 0

  def perform = OauthAccessGrant.where(created_at: ...1.day.ago).delete_all
end
