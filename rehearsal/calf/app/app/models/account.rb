# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Account < ApplicationRecord
  include SigningKey

  has_one :user
  has_many :statuses
  has_many :follows
  has_many :passive_follows, class_name: "Follow", foreign_key: :target_account_id
  has_many :followers, through: :passive_follows, source: :account

  validates :username, presence: true, format: { with: /\A[a-z0-9_]+([.-]+[a-z0-9_]+)*\z/i }, length: { maximum: 30, if: :local? }
  validate { errors.add(:username, :taken) if Account.find_local_or_remote(username, domain)&.then { |found| found != self } }

  scope :local, -> { where(domain: nil) }
  scope :remote, -> { where.not(domain: nil) }

  def self.find_local_or_remote(username, domain = nil)
    find_by("lower(username) = ? AND coalesce(lower(domain), '') = ?", username.to_s.downcase, domain.to_s.downcase)
  end

  def local? = domain.nil?
  def acct = local? ? username : "#{username}@#{domain}"
  def actor_uri = local? ? "#{Calf::Settings.base_url}/users/#{username}" : uri
  def page_url = local? ? "#{Calf::Settings.base_url}/@#{username}" : url

  def blocked_with?(other)
    Block.exists?(account: self, target_account: other) || Block.exists?(account: other, target_account: self)
  end
end
