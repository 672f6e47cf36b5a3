# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  # Pushes the recurring jobs of config/sidekiq.yml. It knows nothing of other processes: two of them that listen to
  # the queue `scheduler` push everything twice.
  class Schedule
    STATES = "sidekiq-scheduler:states"

    def initialize(entries)
      @entries = entries.to_h { |name, entry| [name.to_s, entry.transform_keys(&:to_sym)] }
      @due = @entries.transform_values { |entry| now + rand(entry[:every]) }
      @stopping = Queue.new
    end

    def start
      @thread ||= Thread.new { run }
    end

    def stop
      @stopping.close
      @thread&.join(1)
    end

    private

    def run
      until @stopping.closed?
        push_due
        @stopping.pop(timeout: 1)
      end
    end

    def push_due
      @due.select { |_name, due| due <= now }.each_key do |name|
        entry = @entries.fetch(name)
        @due[name] = now + entry[:every]
        jid = entry[:class].constantize.perform_async
        state = { last_jid: jid, last_time: Time.now.utc.iso8601 }.to_json
        Sidekiq.redis { |redis| redis.call("HSET", STATES, name, state) }
      end
    rescue RedisClient::Error => e
      Sidekiq.logger.warn("the schedule waits for Redis: #{e.message}")
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
