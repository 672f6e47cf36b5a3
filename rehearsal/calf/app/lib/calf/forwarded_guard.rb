# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  # Refuses a forwarded address from a peer that is no trusted proxy: anyone could claim to be anyone.
  class ForwardedGuard
    UntrustedProxy = Class.new(StandardError)

    def initialize(app)
      @app = app
    end

    def call(env)
      if env["HTTP_X_FORWARDED_FOR"].present? && !trusted?(env["REMOTE_ADDR"])
        raise UntrustedProxy, "X-Forwarded-For from #{env["REMOTE_ADDR"]}, which TRUSTED_PROXY_IP does not name"
      end

      @app.call(env)
    end

    private

    def trusted?(address) = Settings.trusted_proxies.any? { |range| range === address }
  end
end
