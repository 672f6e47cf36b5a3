# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class User < ApplicationRecord
  encrypts :otp_secret

  belongs_to :account
  belongs_to :role, class_name: "UserRole", optional: true
  has_many :access_tokens, class_name: "OauthAccessToken", foreign_key: :resource_owner_id

  validates :email, presence: true, format: { with: /\A[^@\s]+@[^@\s]+\z/ }, uniqueness: { case_sensitive: false }
  validates_with EmailDomainValidator, if: :email_changed?

  before_validation { self.email = email.to_s.strip.downcase }
  after_create_commit { UserMailer.with(user: self).public_send(confirmed? ? :welcome : :confirmation).deliver_later }

  def self.authenticate(email, password)
    user = find_by(email: email.to_s.strip.downcase)
    user if user&.password?(password) && user.functional?
  end

  def password=(plain)
    self.encrypted_password = BCrypt::Password.create(plain)
  end

  def password?(plain) = encrypted_password.present? && BCrypt::Password.new(encrypted_password) == plain.to_s
  def confirmed? = confirmed_at.present?
  def functional? = confirmed? && approved? && !disabled?

  # Ends every session and application of this person.
  def revoke_access!
    access_tokens.active.each(&:revoke!)
  end
end
