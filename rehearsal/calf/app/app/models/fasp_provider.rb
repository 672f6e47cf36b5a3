# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# An auxiliary service that wants to hear of public posts.
class FaspProvider < ApplicationRecord
  scope :confirmed, -> { where(confirmed: true) }
end
