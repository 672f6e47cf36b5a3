# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  # What the environment says, read once the .env.production file is in it.
  module Settings
    module_function

    def local_domain = ENV.fetch("LOCAL_DOMAIN", "localhost:3000")
    def web_domain = ENV["WEB_DOMAIN"].presence || local_domain
    def https? = Rails.env.production? || ENV["LOCAL_HTTPS"] == "true"
    def base_url = "#{https? ? "https" : "http"}://#{web_domain}"
    def alternate_domains = ENV.fetch("ALTERNATE_DOMAINS", "").split(/\s*,\s*/)

    # A build needs neither secrets nor services.
    def building? = ENV["SECRET_KEY_BASE_DUMMY"].present?

    def replica?
      %w[REPLICA_DB_NAME REPLICA_DB_HOST REPLICA_DATABASE_URL].any? { |name| ENV[name].present? }
    end

    def trusted_proxies
      listed = ENV.fetch("TRUSTED_PROXY_IP", "").split(/[\s,]+/).map { |range| IPAddr.new(range) }
      listed.presence || ActionDispatch::RemoteIp::TRUSTED_PROXIES
    end

    def media_root = Pathname(ENV["PAPERCLIP_ROOT_PATH"].presence || Rails.public_path.join("system"))
    def media_url = ENV.fetch("PAPERCLIP_ROOT_URL", "/system")

    # Threads that may want a connection at the same time in this process.
    def concurrency
      Sidekiq.server? ? Sidekiq.default_configuration[:concurrency] : ENV.fetch("MAX_THREADS", 5).to_i
    end

    # The base settings, or those of a prefix ("CACHE_", "SIDEKIQ_"). A prefix without a host or URL of its own is
    # ignored whole; one with a host inherits neither user, nor password, nor database.
    def redis_url(prefix = "")
      prefix = "" if %w[REDIS_URL REDIS_HOST].none? { |name| ENV["#{prefix}#{name}"].present? }
      read = ->(name) { ENV["#{prefix}REDIS_#{name}"].presence }
      return read.("URL") if read.("URL")

      credentials = [read.("USER"), read.("PASSWORD")].map { |part| ERB::Util.url_encode(part.to_s) }.join(":")
      credentials = credentials == ":" ? "" : "#{credentials}@"
      "redis://#{credentials}#{read.("HOST") || "localhost"}:#{read.("PORT") || 6379}/#{read.("DB") || 0}"
    end
  end
end
