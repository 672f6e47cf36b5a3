# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class SessionsController < ApplicationController
  def new; end

  def create
    given = params.fetch(:user, {})
    user = User.authenticate(given[:email], given[:password])
    unless user
      flash.now[:alert] = "Invalid E-mail address or password."
      return render(:new, status: :unprocessable_entity)
    end

    back = session[:return_to]
    reset_session
    session[:user_id] = user.id
    user.touch(:current_sign_in_at)
    redirect_to back || root_path
  end

  def confirm
    user = User.find_by!(confirmation_token: params[:confirmation_token], confirmed_at: nil)
    user.update!(confirmed_at: Time.current)
    redirect_to "/auth/sign_in"
  end

  def destroy
    reset_session
    redirect_to root_path
  end
end
