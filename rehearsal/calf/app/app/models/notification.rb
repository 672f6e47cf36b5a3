# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Notification < ApplicationRecord
  belongs_to :account
  belongs_to :from_account, class_name: "Account"
  belongs_to :status, optional: true
end
