# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Keypair < ApplicationRecord
  encrypts :private_key

  belongs_to :account
end
