# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::AccountsController < Api::BaseController
  requires_scope "read:accounts", only: :verify_credentials
  requires_scope "read:follows", only: :relationships
  requires_scope "write:follows", only: %i[follow unfollow block unblock]

  def verify_credentials
    account = current_account
    render json: Rest.account(account).merge(source: { privacy: "public", sensitive: false, note: account.note, fields: [] })
  end

  def lookup
    account = Account.find_local_or_remote(*params[:acct].to_s.split("@", 2)) || raise(ActiveRecord::RecordNotFound)
    render json: Rest.account(account)
  end

  def show = render(json: Rest.account(target))
  def statuses = render(json: Rest.statuses(page(target.statuses.recent.rendered.where(visibility: %i[public unlisted]))))
  def relationships = render(json: Account.where(id: params[:id]).map { |account| relationship(account) })

  def follow
    if current_account.blocked_with?(target)
      return render_error(403, "This action is not allowed")
    end

    edge = Follow.create_or_find_by!(account: current_account, target_account: target)
    LocalNotificationWorker.perform_async(target.id, "follow", current_account.id) if edge.previously_new_record? && target.local?
    render json: relationship(target)
  end

  def unfollow = without(Follow)

  def block
    Block.create_or_find_by!(account: current_account, target_account: target)
    Follow.where(account: target, target_account: current_account).delete_all
    without(Follow)
  end

  def unblock = without(Block)

  private

  def target = @target ||= Account.find(params[:id])

  def without(edge)
    edge.where(account: current_account, target_account: target).delete_all
    render json: relationship(target)
  end

  def relationship(account)
    {
      id: account.id.to_s,
      following: Follow.exists?(account: current_account, target_account: account),
      followed_by: Follow.exists?(account:, target_account: current_account),
      blocking: Block.exists?(account: current_account, target_account: account),
    }
  end
end
