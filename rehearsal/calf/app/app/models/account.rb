# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Account < ApplicationRecord
  has_one :user
  has_many :statuses
  has_many :follows
  has_many :passive_follows, class_name: "Follow", foreign_key: :target_account_id
  has_many :followers, through: :passive_follows, source: :account

  validates :username, presence: true, format: { with: /\A[a-z0-9_]+([.-]+[a-z0-9_]+)*\z/i }, length: { maximum: 30, if: :local? }
  validate { errors.add(:username, :taken) if Account.find_local_or_remote(username, domain)&.then { |found| found != self } }

  before_create :make_keys, if: :local?

  scope :local, -> { where(domain: nil) }
  scope :remote, -> { where.not(domain: nil) }

  def self.find_local_or_remote(username, domain = nil)
    find_by("lower(username) = ? AND coalesce(lower(domain), '') = ?", username.to_s.downcase, domain.to_s.downcase)
  end

  def local? = domain.nil?
  def acct = local? ? username : "#{username}@#{domain}"
  def actor_uri = local? ? "#{Calf::Settings.base_url}/users/#{username}" : uri
  def page_url = local? ? "#{Calf::Settings.base_url}/@#{username}" : url

  # The key that signs this account's deliveries.
  def signing_key = OpenSSL::PKey::RSA.new(private_key)

  private

  def make_keys
    keys = OpenSSL::PKey::RSA.new(2048)
    self.private_key = keys.to_pem
    self.public_key = keys.public_to_pem
  end
end
