# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::NotificationsController < Api::BaseController
  requires_scope "read:notifications"

  def index
    notifications = ApplicationRecord.on_replica { page(scope, default: 40, maximum: 80) }
    render json: notifications.map { |notification| Rest.notification(notification) }
  end

  def show = render(json: Rest.notification(scope.find(params[:id])))

  private

  def scope
    Notification.where(account_id: current_account.id).includes(:from_account, status: %i[account media_attachments]).order(id: :desc)
  end
end
