# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

Rack::Attack.blocklist("blocked addresses") { |request| IpBlock.blocked?(request.client_address) }

module Calf
  # What the limits need to know of a request.
  module Throttled
    PAGING = %w[page max_id min_id since_id].freeze

    def client_address = get_header("action_dispatch.remote_ip").to_s

    # One subscriber has a whole /64 of IPv6.
    def client_range
      address = IPAddr.new(client_address)
      address.ipv6? ? address.mask(64).to_s : address.to_s
    end

    def api? = path.start_with?("/api/")
    def paging? = PAGING.any? { |name| self.GET.key?(name) }
    def sign_in? = post? && path == "/auth/sign_in"
    def media? = post? && path.match?(%r{\A/api/v\d/media\z})

    def access_token
      return @access_token if defined?(@access_token)

      bearer = get_header("HTTP_AUTHORIZATION").to_s[/\ABearer (.+)\z/i, 1] || self.GET["access_token"]
      @access_token = OauthAccessToken.authenticate(bearer)
    end

    def user_id = access_token&.resource_owner_id
  end
end
Rack::Attack::Request.include(Calf::Throttled)

limits = {
  "authenticated_api" => [1_500, 5.minutes, ->(request) { request.user_id if request.api? }],
  "per_token_api" => [300, 5.minutes, ->(request) { request.access_token&.id if request.api? }],
  "unauthenticated_api" => [300, 5.minutes, ->(request) { request.client_range if request.api? && !request.access_token }],
  "api_media" => [30, 30.minutes, ->(request) { request.user_id if request.media? }],
  "unauthenticated_paging" => [300, 15.minutes, ->(request) { request.client_range if request.paging? && !request.access_token }],
  "login_attempts" => [25, 5.minutes, ->(request) { request.client_range if request.sign_in? }],
}
limits.each { |name, (limit, period, key)| Rack::Attack.throttle(name, limit:, period:, &key) }

Rack::Attack.throttled_responder = lambda do |request|
  headers = Calf::RateLimitHeaders.from(request.env["rack.attack.match_data"])
  [429, { "Content-Type" => "application/json", **headers }, [{ error: "Too many requests" }.to_json]]
end
