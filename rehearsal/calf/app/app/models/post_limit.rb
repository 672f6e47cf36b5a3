# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# How many statuses a person may post, counted in Redis: without Redis nothing is posted.
class PostLimit
  LIMIT = 300
  PERIOD_SECONDS = 3 * 3600
  Exceeded = Class.new(StandardError)

  def initialize(account)
    @account = account
  end

  def take!
    count = REDIS.multi do |transaction|
      transaction.incr(key)
      transaction.expire(key, PERIOD_SECONDS)
    end.first
    @data = { limit: LIMIT, count:, period: PERIOD_SECONDS, epoch_time: Time.now.to_i }
    raise Exceeded, "Too many requests" if count > LIMIT
  end

  def headers = Calf::RateLimitHeaders.from(@data)

  private

  def key = "rate_limit:#{@account.id}:statuses:#{Time.now.to_i / PERIOD_SECONDS}"
end
