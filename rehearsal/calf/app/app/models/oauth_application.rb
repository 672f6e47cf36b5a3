# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class OauthApplication < ApplicationRecord
  OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"

  before_validation on: :create do
    self.uid ||= SecureRandom.urlsafe_base64(32)
    self.secret ||= SecureRandom.urlsafe_base64(32)
  end

  validates :name, :redirect_uri, presence: true

  def redirect_uris = redirect_uri.split
  def allows?(wanted) = (wanted - scopes.split).all? { |scope| scopes.split.include?(scope.split(":").first) }
end
