# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  module Metrics
    # Holds what processes reported. A report that is not repeated is forgotten, what was counted is kept.
    class Collector
      QUANTILES = [0.99, 0.9, 0.5, 0.1, 0.01].freeze
      KEPT = 1_000

      def initialize(prefix)
        @prefix = prefix
        @lock = Mutex.new
        @states = {}
        @counters = Hash.new { |all, name| all[name] = Hash.new(0) }
        @summaries = Hash.new { |all, name| all[name] = {} }
        @served = { "metrics" => 0, "sessions" => 0, "bad_metrics" => 0 }
      end

      # report: {"source", "expires" and "gauges" [[name, labels, value]]}, {"counts" ...} and {"durations" ...} alike.
      def take(report)
        @lock.synchronize do
          @served["metrics"] += 1
          @states[report["source"]] = [now + report["expires"], report["gauges"]] if report["gauges"]
          report.fetch("counts", []).each { |name, labels, value| @counters[name][labels] += value }
          report.fetch("durations", []).each { |name, labels, value| observe(name, labels, value) }
        end
      end

      def session = @lock.synchronize { @served["sessions"] += 1 }
      def refuse = @lock.synchronize { @served["bad_metrics"] += 1 }

      def text
        @lock.synchronize do
          @states.delete_if { |_source, (ends, _gauges)| ends < now }
          @served.map { |name, value| metric("collector_#{name}_total", "counter", [["", {}, value]]) }
            .concat(gauges, counters, summaries).join("\n")
        end
      end

      private

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

      def observe(name, labels, value)
        all = (@summaries[name][labels] ||= { count: 0, sum: 0.0, last: [] })
        all[:count] += 1
        all[:sum] += value
        all[:last] << value
        all[:last].shift if all[:last].size > KEPT
      end

      def gauges
        # Of the same labels the last one counts: pools of the primary and of a reader may have the same name.
        found = Hash.new { |all, name| all[name] = {} }
        @states.each_value { |(_ends, list)| list.each { |name, labels, value| found[name][labels] = value } }
        found.map do |name, all|
          metric(name, name.end_with?("_total") ? "counter" : "gauge", all.map { |labels, value| ["", labels, value] })
        end
      end

      def counters
        @counters.map { |name, all| metric(name, "counter", all.map { |labels, value| ["", labels, value] }) }
      end

      def summaries
        @summaries.map do |name, all|
          lines = all.flat_map do |labels, seen|
            ordered = seen[:last].sort
            quantiles = QUANTILES.map do |quantile|
              ["", labels.merge("quantile" => quantile), ordered[(ordered.size * quantile).to_i.clamp(0, ordered.size - 1)]]
            end
            [*quantiles, ["_sum", labels, seen[:sum]], ["_count", labels, seen[:count]]]
          end
          metric(name, "summary", lines)
        end
      end

      def metric(name, type, lines)
        shown = lines.map do |suffix, labels, value|
          pairs = labels.map { |key, text| "#{key}=\"#{text.to_s.gsub("\\", "\\\\\\\\").gsub('"', '\\"').gsub("\n", '\\n')}\"" }
          "#{@prefix}#{name}#{suffix}#{"{#{pairs.join(",")}}" if pairs.any?} #{value}"
        end
        ["# HELP #{@prefix}#{name} #{name.tr("_", " ")}", "# TYPE #{@prefix}#{name} #{type}", *shown, ""].join("\n")
      end
    end
  end
end
