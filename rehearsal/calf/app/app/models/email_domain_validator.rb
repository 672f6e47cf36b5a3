# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "resolv"

# An address that cannot receive mail is refused, before anyone waits for a confirmation that never comes.
class EmailDomainValidator < ActiveModel::Validator
  TIMEOUT_SECONDS = 5

  def validate(user)
    domain = user.email.to_s.split("@", 2).last
    return if domain.blank? || allowed?(domain)

    if ENV["EMAIL_DOMAIN_ALLOWLIST"].present? || listed?("EMAIL_DOMAIN_DENYLIST", domain)
      user.errors.add(:email, :blocked, message: "blocked")
    elsif addresses(domain).empty?
      user.errors.add(:email, :unreachable, message: "unreachable")
    end
  end

  private

  def allowed?(domain) = listed?("EMAIL_DOMAIN_ALLOWLIST", domain)
  def listed?(variable, domain) = ENV.fetch(variable, "").split(/[|,\s]+/).include?(domain)

  def addresses(domain)
    Resolv::DNS.open do |dns|
      dns.timeouts = TIMEOUT_SECONDS
      names = dns.getresources(domain, Resolv::DNS::Resource::IN::MX).map { |mx| mx.exchange.to_s }
      [domain, *names].flat_map { |name| dns.getaddresses(name) }
    end
  end
end
