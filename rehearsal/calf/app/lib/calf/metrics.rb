# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "json"
require "net/http"

module Calf
  # What Puma and Sidekiq report to the exporter of their host, under the names of the gem prometheus_exporter.
  module Metrics
    EVERY_SECONDS, EXPIRES_SECONDS, MOST_WAITING = 30, 60, 10_000

    module_function

    def enabled? = ENV["MASTODON_PROMETHEUS_EXPORTER_ENABLED"] == "true"
    def detailed?(part) = ENV["MASTODON_PROMETHEUS_EXPORTER_#{part}_DETAILED_METRICS"] == "true"

    # Reports what a block returns, [[name, labels, value]], now and every half minute; the thread ends with its process.
    def report_again(source, &gauges)
      Thread.new do
        loop do
          send_all([{ source: "#{source} #{Process.pid}", expires: EXPIRES_SECONDS, gauges: gauges.call }])
        rescue StandardError => error
          warn "Metrics of #{source} were not reported: #{error.message}"
        ensure
          sleep EVERY_SECONDS
        end
      end
    end

    # Keeps what happened until the next second, and forgets it where nobody takes it: requests never wait for this.
    def happened(counts: [], durations: [])
      queue = (@queue ||= Queue.new)
      queue << { counts:, durations: } if queue.size < MOST_WAITING
      @sender = sender(queue) unless @sender&.alive? && @sender_pid == Process.pid
    end

    def sender(queue)
      @sender_pid = Process.pid
      Thread.new do
        loop do
          reports = [queue.pop]
          sleep 1
          reports << queue.pop until queue.empty?
          send_all(reports)
        rescue StandardError => error
          warn "Metrics were not reported: #{error.message}"
        end
      end
    end

    def send_all(reports)
      address = ENV.fetch("PROMETHEUS_EXPORTER_HOST", "localhost")
      port = ENV.fetch("PROMETHEUS_EXPORTER_PORT", 9394).to_i
      Net::HTTP.start(address, port, nil, open_timeout: 3, read_timeout: 5) do |http|
        http.post("/send-metrics", JSON.generate(reports), "Content-Type" => "application/json")
      end
    end

    def puma(stats)
      workers = stats[:worker_status]
      sum = ->(key) { workers.sum { |worker| worker[:last_status].fetch(key, 0) } }
      {
        workers: stats[:workers], booted_workers: stats[:booted_workers], old_workers: stats[:old_workers],
        running_threads: sum.call(:running), request_backlog: sum.call(:backlog),
        thread_pool_capacity: sum.call(:pool_capacity), max_threads: sum.call(:max_threads),
        busy_threads: sum.call(:busy_threads),
      }.map { |name, value| ["puma_#{name}", { phase: stats[:phase] }, value] }
    end

    def process(type)
      labels = { type:, pid: Process.pid }
      stat = GC.stat
      known = {
        rss: File.read("/proc/self/statm").split[1].to_i * 4096,
        heap_free_slots: stat[:heap_free_slots], heap_live_slots: stat[:heap_live_slots],
        malloc_increase_bytes_limit: stat[:malloc_increase_bytes_limit],
        oldmalloc_increase_bytes_limit: stat[:oldmalloc_increase_bytes_limit],
        marking_time: stat[:marking_time], sweeping_time: stat[:sweeping_time],
        major_gc_ops_total: stat[:major_gc_count], minor_gc_ops_total: stat[:minor_gc_count],
        allocated_objects_total: stat[:total_allocated_objects],
      }.compact
      known.map { |name, value| [name, labels, value] }
    end

    def connection_pools(type)
      ActiveRecord::Base.connection_handler.connection_pool_list(:all).flat_map do |pool|
        configuration = pool.db_config.configuration_hash
        labels = {
          pool_name: pool.db_config.name, type:, dbconfig_database: configuration[:database],
          dbconfig_host: configuration[:host], pid: Process.pid, hostname: Socket.gethostname,
        }
        pool.stat.slice(:connections, :busy, :dead, :idle, :waiting, :size).map do |name, value|
          ["active_record_connection_pool_#{name}", labels, value]
        end
      end
    end

    def sidekiq_process
      found = Sidekiq::ProcessSet.new.find { |one| one["pid"] == Process.pid && one["hostname"] == Socket.gethostname }
      return [] unless found

      labels = {
        labels: found.labels.sort.join(","), queues: found.queues.uniq.sort.join(","), quiet: found.stopping?,
        tag: found.tag, hostname: found["hostname"], identity: found.identity,
      }
      [["sidekiq_process_busy", labels, found["busy"]], ["sidekiq_process_concurrency", labels, found["concurrency"]]]
    end

    def sidekiq_queues(names)
      names.uniq.flat_map do |name|
        queue = Sidekiq::Queue.new(name)
        [["sidekiq_queue_backlog", { queue: name }, queue.size], ["sidekiq_queue_latency_seconds", { queue: name }, queue.latency]]
      end
    end

    def sidekiq_stats
      stats = Sidekiq::Stats.new
      %i[dead_size enqueued failed processed processes_size retry_size scheduled_size workers_size].map do |name|
        ["sidekiq_stats_#{name}", {}, stats.public_send(name)]
      end
    end

    # Before everything else in Rails: how long a request waited, and with details how long it took and how it ended.
    class Middleware
      def initialize(app)
        @app = app
      end

      def call(env)
        waited = Time.now.to_f - env["HTTP_X_REQUEST_START"].to_s.delete_prefix("t=").to_f if env["HTTP_X_REQUEST_START"]
        began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        response = @app.call(env)
      ensure
        report(env, response&.first || 500, waited, Process.clock_gettime(Process::CLOCK_MONOTONIC) - began)
      end

      private

      def report(env, status, waited, took)
        labels = Metrics.detailed?("WEB") ? labels_of(env) : {}
        durations = waited ? [["http_request_queue_duration_seconds", labels, [waited, 0].max]] : []
        return Metrics.happened(counts: [["http_requests_total", {}, 1]], durations:) unless Metrics.detailed?("WEB")

        durations << ["http_request_duration_seconds", labels, took]
        Metrics.happened(counts: [["http_requests_total", labels.merge(status:), 1]], durations:)
      end

      def labels_of(env)
        parameters = env["action_dispatch.request.path_parameters"] || {}
        { controller: parameters[:controller] || "other", action: parameters[:action] || "other" }
      end
    end

    # Around each job.
    class SidekiqMiddleware
      def call(_worker, job, queue)
        began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        success = stopped = false
        yield
        success = true
      rescue Sidekiq::Shutdown
        stopped = true
        raise
      ensure
        labels = { job_name: job["wrapped"] || job["class"], queue: }
        names = ["sidekiq_jobs_total", ("sidekiq_restarted_jobs_total" if stopped),
                 ("sidekiq_failed_jobs_total" unless success || stopped)].compact
        took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
        Metrics.happened(counts: names.map { |name| [name, labels, 1] }, durations: [["sidekiq_job_duration_seconds", labels, took]])
      end
    end
  end
end
