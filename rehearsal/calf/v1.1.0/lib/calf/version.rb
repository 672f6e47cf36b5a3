# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

module Calf
  VERSION = "1.1.0"
end
