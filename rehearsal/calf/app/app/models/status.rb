# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Status < ApplicationRecord
  MAX_CHARACTERS = 500
  MENTION = /(?<![\w@\/])@([a-z0-9_]+(?:[.-]+[a-z0-9_]+)*)(?:@([\w.-]+[\w]))?/i

  belongs_to :account
  has_many :media_attachments
  has_many :mentions
  has_many :mentioned_accounts, through: :mentions, source: :account

  enum :visibility, { public: 0, unlisted: 1, private: 2, direct: 3 }, suffix: :visibility

  scope :recent, -> { where(deleted_at: nil).order(id: :desc) }
  scope :rendered, -> { includes(:account, :media_attachments) }

  validates :text, length: { maximum: MAX_CHARACTERS, if: :local? }
  validate { errors.add(:text, "can't be blank") if local? && text.blank? && media_attachments.empty? }

  # The accounts named in the text that this instance knows.
  def named_accounts
    text.scan(MENTION).filter_map do |username, domain|
      Account.find_local_or_remote(username, Calf::Settings.local_domain.casecmp?(domain.to_s) ? nil : domain)
    end.uniq
  end

  def visible_to?(viewer)
    return false if deleted_at
    return true if public_visibility? || unlisted_visibility? || account == viewer
    return false unless viewer

    mentions.exists?(account: viewer) || (private_visibility? && viewer.follows.exists?(target_account: account))
  end

  def actor_uri = uri || "#{account.actor_uri}/statuses/#{id}"
end
