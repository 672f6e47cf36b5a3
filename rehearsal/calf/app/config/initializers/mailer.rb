# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

Rails.application.configure do
  config.action_mailer.delivery_method = ENV.fetch("SMTP_DELIVERY_METHOD", "smtp").to_sym
  config.action_mailer.deliver_later_queue_name = "mailers"
  config.action_mailer.smtp_settings = {
    address: ENV["SMTP_SERVER"].presence || "localhost",
    port: ENV["SMTP_PORT"].presence&.to_i || 587,
    user_name: ENV["SMTP_LOGIN"].presence,
    password: ENV["SMTP_PASSWORD"].presence,
    domain: ENV["SMTP_DOMAIN"].presence || Calf::Settings.local_domain,
    authentication: ENV["SMTP_AUTH_METHOD"] == "none" ? nil : ENV.fetch("SMTP_AUTH_METHOD", "plain").to_sym,
    ca_file: ENV["SMTP_CA_FILE"].presence || "/etc/ssl/certs/ca-certificates.crt",
    openssl_verify_mode: ENV["SMTP_OPENSSL_VERIFY_MODE"].presence,
    enable_starttls: ENV["SMTP_ENABLE_STARTTLS"] == "always",
    enable_starttls_auto: !%w[always never].include?(ENV["SMTP_ENABLE_STARTTLS"]) && ENV["SMTP_ENABLE_STARTTLS_AUTO"] != "false",
    tls: ENV["SMTP_TLS"] == "true" || nil,
    ssl: ENV["SMTP_SSL"] == "true" || nil,
    read_timeout: 20,
  }.compact
  config.action_mailer.default_options = { from: ENV.fetch("SMTP_FROM_ADDRESS", "notifications@localhost") }
end
