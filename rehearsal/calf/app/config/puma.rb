# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Puma reads this file before it loads the application: only the environment of the process counts here, not the
# .env.production file.
max_threads = ENV.fetch("MAX_THREADS", 5).to_i
threads ENV.fetch("MIN_THREADS", max_threads).to_i, max_threads
workers ENV.fetch("WEB_CONCURRENCY", 2).to_i
persistent_timeout ENV.fetch("PERSISTENT_TIMEOUT", 20).to_i
environment ENV.fetch("RAILS_ENV", "development")
preload_app!

if ENV["SOCKET"]
  bind "unix://#{ENV.fetch("SOCKET")}"
else
  bind "tcp://#{ENV.fetch("BIND", "127.0.0.1")}:#{ENV.fetch("PORT", 3000)}"
end
set_remote_address proxy_protocol: :v1 if ENV["PROXY_PROTO_V1"] == "true"

if ENV["MASTODON_PROMETHEUS_EXPORTER_ENABLED"] == "true"
  require_relative "../lib/calf/metrics"

  # Each worker tells of itself, and the master, once, of all of them. Without workers nobody is told.
  on_worker_boot do
    Calf::Metrics.report_again("web") { Calf::Metrics.process("web") + Calf::Metrics.connection_pools("puma") }
  end
  reporting = false
  after_worker_fork do
    unless reporting
      reporting = true
      Calf::Metrics.report_again("puma") { Calf::Metrics.puma(Puma.stats_hash) }
    end
  end
end

plugin :tmp_restart
