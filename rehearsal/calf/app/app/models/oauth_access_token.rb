# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class OauthAccessToken < ApplicationRecord
  belongs_to :application, class_name: "OauthApplication", optional: true
  belongs_to :resource_owner, class_name: "User", optional: true

  before_create { self.token ||= SecureRandom.urlsafe_base64(32) }

  scope :active, -> { where(revoked_at: nil).where("expires_in IS NULL OR created_at + expires_in * interval '1 second' > now()") }

  def self.authenticate(token) = token.presence && active.find_by(token: token)

  def scope?(wanted) = scopes.to_s.split.intersect?([wanted, wanted.split(":").first])

  def revoke!
    update!(revoked_at: Time.current)
    REDIS.publish("timeline:access_token:#{id}", { event: "kill" }.to_json)
  end
end
