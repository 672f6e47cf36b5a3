# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "net/http"

module Calf
  # Where uploaded files are: on disk, or in a bucket.
  module MediaStore
    def self.current = ENV["S3_ENABLED"] == "true" ? Bucket : Disk

    # Below PAPERCLIP_ROOT_PATH.
    module Disk
      module_function

      def host = ENV["CDN_HOST"].presence || Settings.base_url
      def url(name) = "#{host}#{Settings.media_url}/#{name}"
      def delete(name) = FileUtils.rm_f(path(name))
      def path(name) = Settings.media_root.join(name)

      def put(name, upload, _type)
        path(name).dirname.mkpath
        File.open(path(name), "wb", 0o644) { |file| IO.copy_stream(upload, file) }
      end
    end

    # An S3 bucket, asked with the bucket in the path, as a custom endpoint is; each request is signed (version 4).
    module Bucket
      module_function

      # The scheme of S3_PROTOCOL counts for an alias too; the policy of the pages takes https whatever that says.
      def url(name) = "#{ENV.fetch("S3_PROTOCOL", "https")}://#{ENV["S3_ALIAS_HOST"].presence || "#{hostname}/#{ENV.fetch("S3_BUCKET")}"}/#{name}"
      def host = "https://#{(ENV["S3_ALIAS_HOST"].presence || hostname).split("/").first}"
      def hostname = ENV.fetch("S3_HOSTNAME") { "s3-#{region}.amazonaws.com" }
      def region = ENV.fetch("S3_REGION", "us-east-1")
      def endpoint = ENV["S3_ENDPOINT"].presence || "https://#{hostname}"

      def delete(name) = send_signed(Net::HTTP::Delete, name, "")

      def put(name, upload, type)
        send_signed(Net::HTTP::Put, name, upload.read, "content-type" => type, "x-amz-acl" => ENV.fetch("S3_PERMISSION", "public-read"))
      end

      def send_signed(verb, name, body, headers = {})
        uri = URI("#{endpoint}/#{ENV.fetch("S3_BUCKET")}/#{name}")
        time, digest = Time.now.utc.strftime("%Y%m%dT%H%M%SZ"), OpenSSL::Digest::SHA256.hexdigest(body)
        headers = { "host" => uri.port == uri.default_port ? uri.host : "#{uri.host}:#{uri.port}",
                    "x-amz-content-sha256" => digest, "x-amz-date" => time, **headers }.compact_blank.sort.to_h
        names, scope = headers.keys.join(";"), "#{time[0, 8]}/#{region}/s3/aws4_request"
        canonical = [verb::METHOD, uri.path, "", *headers.map { |pair| pair.join(":") }, "", names, digest].join("\n")
        signed = ["AWS4-HMAC-SHA256", time, scope, OpenSSL::Digest::SHA256.hexdigest(canonical)].join("\n")
        key = scope.split("/").inject("AWS4#{ENV.fetch("AWS_SECRET_ACCESS_KEY")}") { |secret, part| hmac(secret, part) }
        credential = "#{ENV.fetch("AWS_ACCESS_KEY_ID")}/#{scope}"
        headers["authorization"] = "AWS4-HMAC-SHA256 Credential=#{credential}, SignedHeaders=#{names}, Signature=#{hmac(key, signed).unpack1("H*")}"
        Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https", open_timeout: 5, read_timeout: 5) do |http|
          http.request(verb.new(uri, headers).tap { |request| request.body = body }).tap(&:value)
        end
      end

      def hmac(key, text) = OpenSSL::HMAC.digest("SHA256", key, text)
    end
  end
end
