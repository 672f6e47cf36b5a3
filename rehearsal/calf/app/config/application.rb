# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require_relative "boot"

require "rails"
require "active_record/railtie"
require "active_job/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "action_mailer/railtie"
require "dotenv"

# After Puma and Sidekiq have read their own files, before anything else is configured. What is in the environment of
# the process already stays as it is.
env_file = File.expand_path("../.env.#{Rails.env}", __dir__)
puts "[dotenv] Loaded #{File.basename(env_file)}" if Dotenv.load(env_file).any?

Bundler.require(*Rails.groups)

require_relative "../lib/calf/version"
require_relative "../lib/calf/settings"
require_relative "../lib/calf/media_store"
require_relative "../lib/calf/metrics"
require_relative "../lib/calf/forwarded_guard"
require_relative "../lib/calf/rate_limit_headers"

module Calf
  class Application < Rails::Application
    config.load_defaults 7.2
    config.eager_load = true
    config.enable_reloading = false
    config.consider_all_requests_local = false
    config.api_only = false
    config.filter_parameters += %i[password secret token code private_key]

    config.paths["db/migrate"] << "db/post_migrate" unless ENV["SKIP_POST_DEPLOYMENT_MIGRATIONS"].present?
    config.active_record.dump_schema_after_migration = false

    config.logger = ActiveSupport::TaggedLogging.new(ActiveSupport::Logger.new($stdout))
    config.log_level = ENV.fetch("RAILS_LOG_LEVEL", "info").to_sym
    config.log_tags = [:request_id]
    config.lograge.enabled = true
    config.lograge.ignore_actions = ["HealthController#show"]

    config.public_file_server.enabled = ENV["RAILS_SERVE_STATIC_FILES"] == "true"
    config.force_ssl = Settings.https?
    config.ssl_options = { redirect: { exclude: ->(request) { request.path == "/health" } } }
    config.hosts = [Settings.local_domain, Settings.web_domain, *Settings.alternate_domains].uniq
    config.host_authorization = { exclude: ->(request) { request.path == "/health" } }
    config.action_dispatch.trusted_proxies = Settings.trusted_proxies
    config.action_dispatch.default_headers.merge!("Referrer-Policy" => "same-origin", "X-Frame-Options" => "DENY")
    config.middleware.unshift Metrics::Middleware if Metrics.enabled?
    config.middleware.insert_after ActionDispatch::DebugExceptions, ForwardedGuard

    config.cache_store = :redis_cache_store, {
      url: Settings.redis_url("CACHE_"), namespace: "cache", expires_in: 10.minutes,
      pool: { size: Settings.concurrency, timeout: 5 },
    }
    config.active_job.queue_adapter = :sidekiq
    config.active_job.logger = Logger.new(nil)
    config.action_mailer.default_url_options = { host: Settings.web_domain, protocol: "https" }
  end
end
