# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class PagesController < ApplicationController
  skip_forgery_protection only: :missing

  def missing = render(:missing, status: :not_found, formats: :html)

  def home
    expires_in 15.seconds, public: true unless current_user
  end
end
