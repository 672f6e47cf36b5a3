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

plugin :tmp_restart
