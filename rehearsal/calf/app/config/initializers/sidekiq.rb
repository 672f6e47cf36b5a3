# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/schedule"
require "sidekiq/api"

sidekiq_redis = { url: Calf::Settings.redis_url("SIDEKIQ_") }
ready_file = ENV["MASTODON_SIDEKIQ_READY_FILENAME"].presence&.then { |name| Rails.root.join("tmp", name) }

Sidekiq.configure_server do |config|
  config.redis = sidekiq_redis
  schedule = Calf::Schedule.new(config[:schedule] || {})

  if Calf::Metrics.enabled?
    detailed = Calf::Metrics.detailed?("SIDEKIQ")
    config.server_middleware { |chain| chain.add Calf::Metrics::SidekiqMiddleware } if detailed
    config.on(:startup) do
      Calf::Metrics.report_again("sidekiq") do
        Calf::Metrics.process("sidekiq") + Calf::Metrics.connection_pools("sidekiq") + Calf::Metrics.sidekiq_process +
          (detailed ? Calf::Metrics.sidekiq_queues(config.queues) + Calf::Metrics.sidekiq_stats : [])
      end
    end
  end

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
