# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class UserRole < ApplicationRecord
  validates :name, uniqueness: true
end
