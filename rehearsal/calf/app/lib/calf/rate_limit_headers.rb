# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  # The headers by which a client learns how much it may still ask, and when it starts anew.
  module RateLimitHeaders
    module_function

    # data: {limit:, count:, period: seconds, epoch_time: seconds}, of one limit
    def from(data)
      now = data[:epoch_time] || Time.now.to_i
      {
        "X-RateLimit-Limit" => data[:limit].to_s,
        "X-RateLimit-Remaining" => [data[:limit] - data[:count], 0].max.to_s,
        "X-RateLimit-Reset" => Time.at(now - (now % data[:period]) + data[:period]).utc.iso8601(6),
      }
    end

    # Of several limits the one that will be met first.
    def tightest(throttle_data)
      data = throttle_data.to_h.values.min_by { |limit| limit[:limit] - limit[:count] }
      data ? from(data) : {}
    end
  end
end
