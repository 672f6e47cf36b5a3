# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

REDIS = ConnectionPool::Wrapper.new(size: Calf::Settings.concurrency, timeout: 5) do
  Redis.new(url: Calf::Settings.redis_url)
end
