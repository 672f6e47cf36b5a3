# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class IpBlock < ApplicationRecord
  NO_ACCESS = 9999
  CACHE_KEY = "blocked_ips"

  after_commit { Rails.cache.delete(CACHE_KEY) }

  # Asked for every request, of PostgreSQL once in a while only.
  def self.blocked?(address)
    ranges = Rails.cache.fetch(CACHE_KEY) do
      where(severity: NO_ACCESS).where("expires_at IS NULL OR expires_at > now()").pluck(Arel.sql("ip::text"))
    end
    ranges.any? { |range| IPAddr.new(range).include?(address) }
  end
end
