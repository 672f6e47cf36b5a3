# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class UserMailer < ActionMailer::Base
  before_action { @user = params[:user] }

  def welcome = send_text("Welcome", "Your account @#{@user.account.username} is ready.")
  def confirmation = send_text("Confirm your e-mail", "Open #{confirmation_url}")
  def mention = send_text("You were mentioned", "#{params[:notification].from_account.acct} mentioned you.")

  private

  def confirmation_url = "#{Calf::Settings.base_url}/auth/confirmation?confirmation_token=#{@user.confirmation_token}"

  def send_text(subject, text)
    mail(to: @user.email, subject: subject, body: "#{text}\n\n#{Calf::Settings.base_url}\n", content_type: "text/plain")
  end
end
