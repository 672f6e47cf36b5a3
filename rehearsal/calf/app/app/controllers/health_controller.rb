# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class HealthController < ActionController::Base
  def show = render(plain: "OK")
end
