# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "json"
require "socket"

module Calf
  module Metrics
    # As little of HTTP as Prometheus and the processes of this host need.
    class Server
      LARGEST = 4_000_000

      def initialize(collector, bind, port)
        @collector = collector
        @socket = TCPServer.new(bind, port)
      end

      def run
        loop { Thread.new(@socket.accept) { |client| serve(client) } }
      end

      private

      def serve(client)
        client.timeout = 10
        verb, path = client.gets.to_s.split
        length = 0
        while (line = client.gets.to_s.chomp) && !line.empty?
          length = line.split(":", 2).last.to_i if line.downcase.start_with?("content-length:")
        end
        status, body = answer(verb, path, length.positive? && length <= LARGEST ? client.read(length) : "")
        client.write("HTTP/1.1 #{status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" \
                     "Content-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n#{body}")
      rescue IOError, SystemCallError
        # Who asked is gone.
      ensure
        client.close
      end

      def answer(verb, path, body)
        case [verb, path]
        when %w[GET /metrics] then ["200 OK", "#{@collector.text}\n"]
        when %w[GET /ping] then ["200 OK", "PONG"]
        when %w[POST /send-metrics]
          @collector.session
          JSON.parse(body).each { |report| @collector.take(report) }
          ["200 OK", "OK"]
        else ["404 Not Found", "Not Found! The Prometheus Ruby Exporter only listens on /ping, /metrics and /send-metrics"]
        end
      rescue JSON::ParserError, KeyError, NoMethodError, TypeError
        @collector.refuse
        ["400 Bad Request", "Bad Metrics"]
      end
    end
  end
end
