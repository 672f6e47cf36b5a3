# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/schedule"

sidekiq_redis = { url: Calf::Settings.redis_url("SIDEKIQ_") }
ready_file = ENV["MASTODON_SIDEKIQ_READY_FILENAME"].presence&.then { |name| Rails.root.join("tmp", name) }

Sidekiq.configure_server do |config|
  config.redis = sidekiq_redis
  schedule = Calf::Schedule.new(config[:schedule] || {})

  config.on(:startup) do
    schedule.start if config.queues.include?("scheduler")
    FileUtils.touch(ready_file) if ready_file
  end
  config.on(:quiet) { schedule.stop }
  config.on(:shutdown) do
    schedule.stop
    FileUtils.rm_f(ready_file) if ready_file
  end
end

Sidekiq.configure_client { |config| config.redis = sidekiq_redis }
