# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The key pair that signs what an account sends to other instances. The private half is kept encrypted, in a table of
# its own; until the post-deployment migration has run, accounts made before still have theirs in the old column.
module SigningKey
  extend ActiveSupport::Concern

  included do
    has_one :keypair
    before_create :make_keys, if: :local?
  end

  def signing_key = OpenSSL::PKey::RSA.new(keypair&.private_key || private_key)

  private

  def make_keys
    keys = OpenSSL::PKey::RSA.new(2048)
    build_keypair(private_key: keys.to_pem)
    self.public_key = keys.public_to_pem
  end
end
