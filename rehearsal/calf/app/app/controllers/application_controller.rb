# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/packs"

class ApplicationController < ActionController::Base
  protect_from_forgery with: :exception
  before_action { response.cache_control.replace(private: true, no_store: true) }

  helper_method :current_user, :pack_path

  private

  def current_user = @current_user ||= session[:user_id] && User.find_by(id: session[:user_id])
  def pack_path(name) = Calf::Packs.path(name)
end
