# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class OauthAccessGrant < ApplicationRecord
  belongs_to :application, class_name: "OauthApplication"
  belongs_to :resource_owner, class_name: "User"

  before_create { self.token = SecureRandom.urlsafe_base64(32) }

  scope :usable, -> { where(revoked_at: nil).where("created_at + expires_in * interval '1 second' > now()") }

  def verified_by?(verifier)
    return true if code_challenge.blank?

    digest = Base64.urlsafe_encode64(OpenSSL::Digest::SHA256.digest(verifier.to_s), padding: false)
    ActiveSupport::SecurityUtils.secure_compare(digest, code_challenge)
  end
end
