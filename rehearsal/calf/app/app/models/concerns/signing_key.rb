# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The key pair that signs what an account sends to other instances.
module SigningKey
  extend ActiveSupport::Concern

  included { before_create :make_keys, if: :local? }

  def signing_key = OpenSSL::PKey::RSA.new(private_key)

  private

  def make_keys
    keys = OpenSSL::PKey::RSA.new(2048)
    self.private_key = keys.to_pem
    self.public_key = keys.public_to_pem
  end
end
