# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "net/http"

module Calf
  # Signed requests between instances, as the fediverse makes them: RSA-SHA256 over chosen headers.
  module HttpSignature
    TIMEOUT_SECONDS = 10
    MAX_AGE_SECONDS = 12 * 3600
    Invalid = Class.new(StandardError)

    module_function

    # Sends JSON, signed by an account; anything but 2xx is an error.
    def post(url, json, account)
      uri = URI(url)
      headers = { "host" => uri.host, "date" => Time.now.httpdate, "digest" => digest(json) }
      text = signed_text("post", uri.request_uri, headers, headers.keys)
      signature = Base64.strict_encode64(account.signing_key.sign("SHA256", text))
      names = ["(request-target)", *headers.keys].join(" ")
      headers["signature"] = %(keyId="#{account.actor_uri}#main-key",algorithm="rsa-sha256",headers="#{names}",signature="#{signature}")
      answer = request(uri) { |http| http.post(uri.request_uri, json, headers.merge("content-type" => "application/activity+json")) }
      raise Invalid, "#{uri.host} answered #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)
    end

    def get(url)
      uri = URI(url)
      answer = request(uri) { |http| http.get(uri.request_uri, "accept" => "application/activity+json") }
      raise Invalid, "#{uri.host} answered #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)

      JSON.parse(answer.body)
    end

    # The account that signed a request; its key is fetched where it is not known yet.
    def verify!(request, body)
      raise Invalid, "Request not signed" if request.headers["Signature"].blank?

      given = request.headers["Signature"].scan(/(\w+)="([^"]*)"/).to_h
      names = given["headers"].to_s.split - ["(request-target)"]
      raise Invalid, "Signed request date outside acceptable time window" unless fresh?(request.headers["Date"])
      raise Invalid, "Digest header is missing or wrong" unless names.include?("digest") && request.headers["Digest"] == digest(body)

      account = RemoteActor.find_or_fetch(given["keyId"].to_s.sub(/#.*\z/, ""))
      text = signed_text("post", request.path, names.index_with { |name| request.headers[name] }, names)
      key = OpenSSL::PKey::RSA.new(account.public_key)
      raise Invalid, "Verification failed for #{account.acct}" unless key.verify("SHA256", Base64.decode64(given["signature"].to_s), text)

      account
    end

    def digest(body) = "SHA-256=#{Base64.strict_encode64(OpenSSL::Digest::SHA256.digest(body))}"

    def signed_text(method, path, headers, names)
      ["(request-target): #{method} #{path}", *names.map { |name| "#{name}: #{headers[name]}" }].join("\n")
    end

    def fresh?(date) = (Time.httpdate(date.to_s) - Time.now).abs < MAX_AGE_SECONDS

    def request(uri, &)
      Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: TIMEOUT_SECONDS, read_timeout: TIMEOUT_SECONDS, &)
    end
  end
end
