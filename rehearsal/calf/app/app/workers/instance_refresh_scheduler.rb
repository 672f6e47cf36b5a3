# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class InstanceRefreshScheduler
  include Sidekiq::Job
  sidekiq_options queue: "scheduler", retry: 0

  def perform = Instance.refresh
end
