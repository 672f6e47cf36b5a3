# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The home timeline of an account: ids of statuses in Redis, newest first.
class HomeFeed
  MAX_ITEMS = 800

  def initialize(account)
    @account = account
  end

  def ids(before: nil, after: nil)
    REDIS.zrange(key, before ? "(#{before}" : "+inf", after ? "(#{after}" : "-inf", by_score: true, rev: true, limit: [0, MAX_ITEMS])
  end

  def push(status)
    REDIS.pipelined do |pipeline|
      pipeline.zadd(key, status.id, status.id)
      pipeline.zremrangebyrank(key, 0, -MAX_ITEMS - 1)
    end
    announce("update", Rest.status(status))
  end

  def remove(status)
    REDIS.zrem(key, status.id)
    announce("delete", status.id.to_s)
  end

  private

  def key = "feed:home:#{@account.id}"
  def channel = "timeline:#{@account.id}"

  # Nobody listens: nothing is published.
  def announce(event, payload)
    Stream.publish(channel, event, payload) if REDIS.exists?("subscribed:#{channel}")
  end
end
