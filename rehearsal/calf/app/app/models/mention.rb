# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Mention < ApplicationRecord
  belongs_to :status
  belongs_to :account
end
