# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Block < ApplicationRecord
  belongs_to :account
  belongs_to :target_account, class_name: "Account"
end
